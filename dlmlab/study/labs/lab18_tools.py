"""Lab 18: which tools install beside the torch and the transformers that this course was made with, by what each asks.

What a package asks is a fact of its metadata, copied on the day below; whether that fits is worked out here, for any
pair of versions. Fitting says that pip finds a solution, not that anything is fast, or runs on a CPU at all: `note`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement

DATE = "29 November 2026"
COURSE = {"torch": "2.13.0", "transformers": "5.23.0"}


@dataclass(frozen=True)
class Tool:
    """A package, its newest version on that day, what it `asks` of torch, transformers and the other tools, and a note
    on what came of it here."""

    name: str
    version: str
    asks: tuple[str, ...] = ()
    note: str = ""


TOOLS = (
    Tool("torchao", "0.18.0", (), "runs; libraries for CUDA fail to load with a message; no int4 kernel for a CPU"),
    Tool("bitsandbytes", "0.50.2", ("torch<3,>=2.4",), "runs on a CPU"),
    Tool("optimum-quanto", "0.2.7", ("torch>=2.6.0",), "int8 runs; int4 compiles an extension first, not waited for"),
    Tool("onnxruntime", "1.32.0", (), "runs; writing a file takes onnx and onnxscript"),
    Tool("gguf", "0.19.0", (), "reads and writes the file, computes nothing"),
    Tool("llama-cpp-python", "0.3.36", (), "source only, minutes of compiling; a library built elsewhere was run"),
    Tool("openvino", "2026.4.1", (), "not run here"),
    Tool("executorch", "1.5.1", ("torchao<0.19,>=0.18.0",), "not run here"),
    Tool("optimum", "2.3.0", ("torch>=1.11", "transformers>=4.29"), "its export to ONNX is optimum-onnx now"),
    Tool("optimum-onnx", "0.1.0", ("optimum~=2.1.0", "transformers<4.58.0,>=4.36")),
    Tool("auto-round", "0.16.1", ("torch", "transformers>=4.38"), "not run here"),
    Tool("compressed-tensors", "0.20.1", ("torch>=2.10.0", "transformers>=4.45.0"), "a format"),
    Tool(
        "llmcompressor",
        "0.14.0.1",
        ("torch<=2.14.0,>=2.10.0", "transformers<=5.17.0,>=5.15.0", "compressed-tensors==0.19.0"),
    ),
    Tool("vllm", "0.33.0", ("torch==2.14.0", "transformers<5.21.0,>=5.16.1", "compressed-tensors==0.17.0")),
    Tool("gptqmodel", "7.7.0", ("torch>=2.14.1", "transformers>=5.20.2", "torchao>=0.18.0"), "source only"),
)


def refused(tool: Tool, versions: Mapping[str, str] = COURSE) -> list[str]:
    """List what a tool asks of packages with these versions and does not find; what has no version here is free.

    >>> refused(Tool("new", "1", ("torch>=2.14", "numpy>=9")))
    ['torch>=2.14']
    """
    asked = [Requirement(line) for line in tool.asks]
    return [str(r) for r in asked if r.name in versions and not r.specifier.contains(versions[r.name])]


def quarrels(a: Tool, b: Tool) -> list[str]:
    """List the packages of which two tools ask versions that do not go together: no version that either names is
    allowed by both.

    >>> by_name = {tool.name: tool for tool in TOOLS}
    >>> quarrels(by_name["vllm"], by_name["llmcompressor"])
    ['compressed-tensors']
    """
    ours, theirs = ({r.name: r.specifier for r in map(Requirement, tool.asks)} for tool in (a, b))
    found = []
    for name in sorted(ours.keys() & theirs.keys()):
        both = ours[name] & theirs[name]
        named = [one.version for one in both]
        if named and not any(both.contains(version) for version in named):
            found.append(name)
    return found
