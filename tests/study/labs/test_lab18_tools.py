"""Which tools fit which versions, by what they ask."""

from dlmlab.study.labs.lab18_tools import COURSE, TOOLS, Tool, quarrels, refused

NAMED = {tool.name: tool for tool in TOOLS}


def test_a_tool_fits_when_nothing_it_asks_is_refused():
    assert refused(Tool("a", "1", ("torch>=2.6", "transformers<6", "numpy>=99"))) == []
    assert refused(Tool("a", "1", ("torch==2.14.0",)), {"torch": "2.14.0"}) == []
    assert refused(NAMED["vllm"]) and not refused(NAMED["bitsandbytes"])


def test_some_that_do_not_fit_would_fit_elsewhere():
    newer = COURSE | {"torch": "2.14.0", "transformers": "5.17.0"}
    assert refused(NAMED["vllm"], newer) == [] and refused(NAMED["llmcompressor"], newer) == []
    assert quarrels(NAMED["vllm"], NAMED["llmcompressor"]) == ["compressed-tensors"]


def test_two_tools_without_a_common_wish_do_not_quarrel():
    assert quarrels(NAMED["torchao"], NAMED["vllm"]) == [] and quarrels(NAMED["vllm"], NAMED["vllm"]) == []
