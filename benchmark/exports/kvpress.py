"""The result folders of kvpress' ``evaluate.py``: predictions.csv, metrics.json, config.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from benchmark.exports.cell import ExportedCell, plain, write_json
from benchmark.files import safe_name, write_if_changed


def export(cells: Sequence[ExportedCell], output: Path) -> list[Path]:
    """Write a folder for each cell, named as kvpress names its own."""
    return [_folder(cell, output) for cell in cells]


def _folder(cell: ExportedCell, output: Path) -> Path:
    names, kept = cell.names, cell.metrics["kept_share"]
    ratio = 0.0 if kept is None else round(max(0.0, 1 - kept), 6)
    press = "no_press" if cell.method == "dense" else names["config"]
    parts = [names["benchmark"], names["subset"], names["model"].replace("/", "--"), press]
    digest = cell.folder.path.name[-8:]
    folder = output / safe_name("__".join([*parts, f"{ratio:.2f}", digest]))
    write_json(folder / "metrics.json", cell.metrics["official"])
    config = {
        "dataset": names["benchmark"],
        "data_dir": names["subset"],
        "model": names["model"],
        "press_name": press,
        # Of keys and values held at the end, as measured; our settings are in the last field.
        "compression_ratio": ratio,
        "press_init_command": str(cell.key.get("config")),
    }
    text = yaml.safe_dump(plain(config), sort_keys=False)
    write_if_changed(folder / "config.yaml", text.encode())
    columns = ("id", "task", "question", "answer_prefix", "references", "predicted_answer")
    frame = pd.DataFrame([{name: plain(one[name]) for name in columns} for one in cell.predictions])
    frame = frame.rename(columns={"references": "answer"})
    write_if_changed(folder / "predictions.csv", frame.to_csv(index=False).encode())
    return folder
