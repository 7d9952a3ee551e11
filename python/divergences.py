"""What the scripts that measure divergences share: the corpora's texts, and commands that print JSON."""

import json
import lzma
import pathlib
import subprocess


def corpus_excerpt(data: pathlib.Path, folder: pathlib.Path, name: str, count: int, first: int = 0) -> pathlib.Path:
    """`count` characters of a corpus from `first`, as a file in `folder`."""
    path = folder / f"{name}.txt"
    with lzma.open(data / f"corpus/{name}.txt.xz", "rt", encoding="utf-8") as file:
        file.read(first)
        path.write_text(file.read(count), encoding="utf-8")
    return path


def separator(text: pathlib.Path):
    """Stories are documents of their own, cut at the context; the books' beginning is one text, in windows."""
    return ["--separator", "<|endoftext|>"] if text.name.startswith("tinystories") else []


def run(command):
    """The JSON that a command prints."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stderr}")
    return json.loads(result.stdout)
