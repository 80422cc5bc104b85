import signal
import subprocess
import sys
import time
from pathlib import Path

from shards.writer import write_shard
from tests.shards.conftest import make_sources as sources

CHECKOUT = Path(__file__).resolve().parents[2]
KILLED_WITHIN = """
import os, signal, sys
from pathlib import Path
from store.atomic import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half of the new cont")
    os.kill(os.getpid(), signal.SIGKILL)
"""
WRITES_FOR_EVER = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from shards.writer import write_shard
from tests.shards.conftest import make_sources as sources
tables = [pq.read_table(name) for name in sys.argv[2:]]
print("writing", flush=True)
while True:
    for table in tables:
        write_shard(table, Path(sys.argv[1]))
"""


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("old")
    command = [sys.executable, "-c", KILLED_WITHIN, str(path)]
    assert subprocess.run(command, cwd=CHECKOUT, check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.glob("*.parquet")] == ["a.parquet"]


def test_a_shard_killed_at_any_time_is_one_of_the_whole_ones(tmp_path):
    tables = [sources(400, size=32, seed=seed).build() for seed in (1, 2)]
    names = [tmp_path / f"source{index}.parquet" for index in range(2)]
    for table, name in zip(tables, names, strict=True):
        write_shard(table, name)
    whole = {name.read_bytes() for name in names}
    for pause in (0.0, 0.013, 0.029):
        path = tmp_path / "out" / "a.parquet"
        command = [sys.executable, "-c", WRITES_FOR_EVER, path, *names]
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(pause)
            writer.kill()
        assert not path.exists() or path.read_bytes() in whole
