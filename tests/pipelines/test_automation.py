from __future__ import annotations

import dagster as dg
import pytest

from assets.workspace import Workspace
from pipelines.automation import archive_digest, new_studies


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    (root / "files" / "p10" / "p1000" / "s1").mkdir(parents=True)
    (root / "metadata.csv").write_text("one")
    return root


def ask(archive, cursor=None):
    context = dg.build_sensor_context(cursor=cursor)
    return new_studies(context, workspace=Workspace(archive_root=str(archive)))


def test_the_sensor_asks_once_per_change(archive):
    first = ask(archive)
    assert len(first.run_requests) == 1
    assert isinstance(ask(archive, first.cursor), dg.SkipReason)
    (archive / "files" / "p10" / "p1000" / "s2").mkdir()
    again = ask(archive, first.cursor)
    assert again.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_changed_table_is_a_change(archive):
    before = archive_digest(archive)
    (archive / "metadata.csv").write_text("one and two")
    assert archive_digest(archive) != before


def test_an_archive_that_is_not_there_yet_is_no_error(tmp_path):
    assert isinstance(ask(tmp_path / "later"), dg.SkipReason)
