from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path


def test_a_file_in_the_shared_folder_is_not_taken_for_jieba_s(tmp_path: Path) -> None:
    """Somebody else's words under the name that jieba looks for, in a folder that all can write."""
    (tmp_path / "jieba.cache").write_bytes(marshal.dumps(({"我": 1, "我爱北": 9**9}, 9**9)))
    program = "from benchmark.metrics.normalize import chinese_words as w; print(w('我爱北京'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['我', '爱', '北京']\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["jieba.cache"]
