"""Files of a model that leaves: a file per part, in a format that runs without vaelab."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vaelab import store
from vaelab.engine.process import one_thread
from vaelab.errors import InputError
from vaelab.export.decompositions import TABLE
from vaelab.export.parts import Part, parts_of
from vaelab.settings import checks

ABOUT = "vaelab"  # the metadata's key in an .onnx, the extra file's name in a .pt2 or .pt


def export_model(
    folder: str | Path,
    format: str = "onnx",
    out: str | Path | None = None,
    *,
    encoder: Any = None,
    decoder: Any = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Write the trained model of a folder as files that run without vaelab; returns their paths.

    Of a VAE encoder and decoder leave; of a study the best model; of an inverse problem a sampler of x ~ p(x|y), which
    is given standard normal numbers. Inputs and outputs are in the data's own units, for any number of rows.

    folder: of a run, a study, a clustering or an inverse problem.
    format: "onnx" (needs `pip install 'vaelab[onnx]'`), "pt2" for torch.export.load, or "torchscript" for
        torch.jit.load, which PyTorch does not develop further.
    out: the folder for the files; by default <folder>-<format>.
    encoder, decoder: the custom torch modules of the run, if any. say: called with a line for each file.

    Metadata in each file, JSON under the key "vaelab", say what goes in and what comes out: columns, levels, classes.
    Raises InputError for an unknown format, or a model that cannot leave.

    >>> import vaelab
    >>> folder = getfixture("tmp_path") / "run"
    >>> _ = vaelab.train("digits", {"latent_dim": 2, "epochs": 1, "hidden": "8"}, figures=False, out=folder)
    >>> encoder, decoder = vaelab.export_model(folder, "pt2")
    >>> torch.export.load(decoder).module()(torch.zeros(5, 2)).shape
    torch.Size([5, 8, 8])
    """
    write, folder = FORMATS[checks.choice("format", format, FORMATS)], checks.folder("folder", folder)
    parts = parts_of(folder, encoder=encoder, decoder=decoder)
    if write is _onnx and importlib.util.find_spec("onnxscript") is None:  # which torch.onnx needs
        raise InputError("the format onnx needs further packages; run pip install 'vaelab[onnx]'.")
    for part in parts:
        part.module.requires_grad_(False)
    target = Path(out) if out is not None else folder.with_name(f"{folder.name}-{format}")
    written = []
    with one_thread(), torch.no_grad():
        for part in parts:
            say(f"tracing the {part.name}; of a table with missing values this may take a minute ...")
            written.append(store.write_output(*write(part, target)))
    return written


def _onnx(part: Part, folder: Path) -> tuple[Path, bytes]:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # which tells of every library that is not installed
    program = _exported(part)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of exporters, on their own code
        table = torch.export.default_decompositions()
        table.update(TABLE)
        # Not optimized: that takes most of the time, and runtimes do it themselves when they load a file.
        made = torch.onnx.export(
            program.run_decompositions(table), dynamo=True, external_data=False, verbose=False, optimize=False,
            input_names=list(part.inputs), output_names=list(part.outputs),
        )  # fmt: skip
    assert made is not None
    for node in made.model.graph:
        node.metadata_props.clear()  # where each came from: most of the file, and paths of this machine
    made.model.metadata_props[ABOUT] = json.dumps(part.described)
    proto = made.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"  # as `described` calls it, not by the exporter's number
    return folder / f"{part.name}.onnx", proto.SerializeToString()


def _pt2(part: Part, folder: Path) -> tuple[Path, bytes]:
    file = io.BytesIO()
    torch.export.save(_exported(part), file, extra_files={ABOUT: json.dumps(part.described)})
    return folder / f"{part.name}.pt2", file.getvalue()


def _exported(part: Part) -> torch.export.ExportedProgram:
    """The part as a graph, for any number of rows."""
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(
            part.module, part.example, dynamic_shapes=tuple({0: rows} for _ in part.example), strict=False
        )


def _torchscript(part: Part, folder: Path) -> tuple[Path, bytes]:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is not developed further
        traced = torch.jit.trace(part.module, part.example, check_trace=False)
        torch.jit.save(traced, file, _extra_files={ABOUT: json.dumps(part.described)})
    return folder / f"{part.name}.pt", file.getvalue()


FORMATS: dict[str, Callable[[Part, Path], tuple[Path, bytes]]] = {
    "onnx": _onnx, "pt2": _pt2, "torchscript": _torchscript,
}  # fmt: skip
