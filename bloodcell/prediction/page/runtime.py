"""ONNX Runtime Web, which runs the net in a browser: had once from the npm registry, known by its hash."""

import hashlib
import io
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.common.files import write_bytes

VERSION = "1.30.0"
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca590a5cdc57bb2f35ce2b298de32f4d95"
    "6fb42644c0ecd528a0a91e025c07ca61"
)
MOST_BYTES = 100_000_000
SILENCE_S = 30
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


@dataclass(frozen=True)
class Runtime:
    """The two files of the package that run a net on a CPU: a JavaScript module and its WebAssembly."""

    script: bytes
    binary: bytes


def find_runtime(archive: Path | None) -> Runtime:
    """Take ONNX Runtime Web from the cache, or from the registry into the cache.

    Args:
        archive: The package, if it is there already; ``None`` to download it (33 MB).

    Raises:
        InputError: If it cannot be had, or its bytes are not the known ones.
    """
    kept = cache_dir() / f"onnxruntime-web-{VERSION}.tgz"
    source = archive or (kept if kept.is_file() else None)
    try:
        content = _read(source) if source else _downloaded()
    except OSError as error:
        raise _not_had(str(source or ADDRESS), str(error)) from error
    if hashlib.sha512(content).hexdigest() != SHA512:
        raise _not_had(str(source or ADDRESS), "other bytes")
    if source is None:
        write_bytes(kept, content)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as package:
        script, binary = (package.extractfile(f"package/dist/{name}") for name in (SCRIPT, BINARY))
        assert script is not None
        assert binary is not None
        return Runtime(script.read(), binary.read())


def _read(source: Path) -> bytes:
    if source.exists() and not source.is_file():
        raise OSError("no regular file")  # a pipe might never end
    with source.open("rb") as file:
        return file.read(MOST_BYTES)


def _downloaded() -> bytes:
    print(f"download: {ADDRESS} (33 MB, once)")
    with urllib.request.urlopen(ADDRESS, timeout=SILENCE_S) as answer:
        content: bytes = answer.read(MOST_BYTES)
    return content


def _not_had(where: str, got: str) -> InputError:
    return InputError(
        where,
        expected=f"onnxruntime-web {VERSION} as the npm registry has it",
        got=got[:150],
        fix=f"download {ADDRESS} elsewhere and give it with --runtime FILE",
    )
