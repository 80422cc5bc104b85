"""What a user can mend of a cluster."""

from store.errors import UserError


class ClusterError(UserError):
    """A cluster cannot run the batches of a run."""


class WorkerError(ClusterError):
    """A worker differs from the run in what both need to have in common."""
