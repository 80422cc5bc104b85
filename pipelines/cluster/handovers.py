"""What one step hands to the next: a file beside the history or, for workers of a home on object storage, an object.

Of a home that is a folder all machines see the files. Of a home on object storage each machine has a mirror of its own:
there, what batches get and give is JSON in the store, and what stays with the process of the run is a local file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.fs_io_manager import PickledObjectFilesystemIOManager
from dagster._core.storage.mem_io_manager import InMemoryIOManager

from pipelines.cluster.steps import is_batch, plans_batches
from store.errors import DamageError, UserError
from store.remote.mirror import keeper_of

if TYPE_CHECKING:
    from store.remote.protocol.objects import Objects

FOLDER = "handovers"  # of the home on object storage


@dg.io_manager(required_resource_keys={"workspace"}, description="Hands values from step to step.")
def handovers(context: dg.InitResourceContext) -> dg.IOManager:
    """As the history and the home of the run want it."""
    instance = context.instance
    assert instance is not None
    here: dg.IOManager = (
        InMemoryIOManager() if instance.is_ephemeral else PickledObjectFilesystemIOManager(instance.storage_directory())
    )
    keeper = keeper_of(context.resources.workspace.described().home_path())
    try:
        return Handovers(here, keeper.objects) if keeper else here
    except UserError:  # of an address that is none, which the check of the run says in one sentence
        return here


class Handovers(dg.IOManager):
    """Values of batches as objects of the store, all others as `here`."""

    def __init__(self, here: dg.IOManager, objects: Objects) -> None:
        self._here, self._objects = here, objects

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Keep a value."""
        if crosses(context):
            self._objects.put(name_of(context), json.dumps(obj).encode())
        else:
            self._here.handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """A value that `handle_output` kept.

        Raises:
            DamageError: it is gone.
        """
        output = context.upstream_output
        assert output is not None
        if not crosses(output):
            return self._here.load_input(context)
        found = self._objects.get(name_of(output))
        if found is None:
            raise DamageError(
                f"{name_of(output)} is not in the store any more: give the same command again, which goes on."
            )
        return json.loads(found.body)


def crosses(context: dg.OutputContext) -> bool:
    """Whether a value goes to a batch, or comes from one."""
    return is_batch(context.step_key) or (context.mapping_key is not None and plans_batches(context.step_key))


def name_of(context: dg.OutputContext) -> str:
    """Of the object."""
    return "/".join([FOLDER, *context.get_identifier()])


def forget(objects: Objects, run: str) -> None:
    """Remove what the steps of a run handed to each other."""
    for found in list(objects.list(f"{FOLDER}/{run}/")):
        objects.delete(found.name)
