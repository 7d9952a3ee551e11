"""edgewen's own variants, quantized by the command and read back from the file.

    python python/rivals/run_edgewen.py --work WORK --edgewen target/release/edgewen

The packed file stays beside the candidate as model.ewn. Weights are read by
packed.py, so measure.py judges them as it does the rivals'. What the engine
makes of the file, 8-bit activations included, is measured with `edgewen eval
kl` and kept in info.json under `as_run`.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import common
import packed

# Options of `edgewen quantize` by the name of the method.
VARIANTS = {
    "edgewen-awq-h8": ["--method", "awq", "--head", "8"],
    "edgewen-fast-h8": ["--effort", "fast", "--head", "8"],
    "edgewen-normal-h8": ["--head", "8"],
    "edgewen-best-h8": ["--effort", "best", "--head", "8"],
    "edgewen-normal-h4": ["--head", "4"],
    "edgewen-best-h4": ["--effort", "best", "--head", "4"],
    "edgewen-normal-h16": ["--head", "16"],
    "edgewen-best-h16": ["--effort", "best", "--head", "16"],
    "edgewen-budget4.5": ["--bits-budget", "4.5"],
}


def run(command: list) -> str:
    """Standard output of a command, or an error with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{done.stderr[-2000:]}")
    return done.stdout


def evaluation_file(model: str, folder: Path) -> tuple[Path, list[str]]:
    """The text of `edgewen eval kl` and its protocol: the stories one by one,
    for the demo model the beginning of the held-out books."""
    if model != "demo":
        path = common.DATA / "eval/tinystories/tinystories_v2_valid_excerpt.txt"
        return path, ["--separator", common.SEPARATOR]
    path = folder / "books.txt"
    path.write_text(common.held_out_books())
    return path, ["--windows", "rolling", "--context", "512"]


def measure_as_run(edgewen: Path, model: str, file: Path, folder: Path) -> dict:
    """What `edgewen eval kl` prints for a file, in the engine's arithmetic."""
    text, protocol = evaluation_file(model, folder)
    command = [edgewen, "eval", "kl", "--model", file, "--file", text, "--json"]
    reference = common.model_path(model)
    found = json.loads(run([*command, "--reference", reference, *protocol]))
    # Where the files lay on this machine is nobody's business.
    for place, key in [(found, "model"), (found, "reference"), (found["protocol"], "file")]:
        place[key] = Path(place[key]).name
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_arguments(parser)
    parser.add_argument("--edgewen", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--no-run", action="store_true", help="skip `as_run`")
    arguments = parser.parse_args()
    version = run([arguments.edgewen, "--version"]).strip()
    for model, text, seed in common.jobs(arguments):
        for method in arguments.variants:
            path = common.candidate_path(arguments.work, model, method, text, seed)
            if (path / "info.json").exists() and not arguments.force:
                continue
            path.mkdir(parents=True, exist_ok=True)
            file = path / "model.ewn"
            with tempfile.TemporaryDirectory() as folder:
                sample = Path(folder) / "calibration.txt"
                sample.write_text(common.calibration_text(text, seed))
                command = [arguments.edgewen, "quantize", common.model_path(model)]
                command += ["-o", file, "--force", "--calibration", sample]
                command += ["--calibration-tokens", common.CALIBRATION_TOKENS]
                command += ["--report", path / "report.json", "--threads", 1]
                run(command + VARIANTS[method])
                tensors, bits, header = packed.read(file)
                info = {"tool": version, "quantization": header["quantization"]}
                if not arguments.no_run:
                    info["as_run"] = measure_as_run(
                        arguments.edgewen, model, file, Path(folder)
                    )
            common.write_candidate(path, tensors, bits, info)
            print(path, flush=True)


if __name__ == "__main__":
    main()
