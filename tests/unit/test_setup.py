"""What setup.py builds, which is what ``pip install .`` installs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_module_that_was_deleted_is_not_installed_by_the_next_update(tmp_path: Path) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    for file in ("kipuka/__init__.py", "kipuka/old.py", "kipuka/cli/__init__.py", "twisted/plugins/kipuka_plugin.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text('__version__ = "1"\n')

    def built() -> set[str]:
        command = [sys.executable, "setup.py", "-q", "build"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=True)
        return {str(each.relative_to(tmp_path / "build/lib")) for each in (tmp_path / "build/lib").rglob("*.py")}

    assert "kipuka/old.py" in built()
    (tmp_path / "kipuka/old.py").unlink()
    assert built() == {"kipuka/__init__.py", "kipuka/cli/__init__.py", "twisted/plugins/kipuka_plugin.py"}
