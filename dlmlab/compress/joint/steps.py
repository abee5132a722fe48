"""The third axis: how a model is decoded. Fewer forwards cost no bytes and no training, so whatever is compressed must
beat the dense model with fewer steps."""

from dataclasses import asdict, dataclass

from dlmlab import limits
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler


@dataclass(frozen=True)
class Decoding:
    """How an answer is written: a `threshold` that commits what is at least this sure, or `steps` forwards in all; in
    blocks of `block_length`, None for one block."""

    threshold: float | None = None
    steps: int | None = None
    block_length: int | None = None

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.steps is None):
            raise ValueError(f"give a threshold or a number of steps, got {self.threshold} and {self.steps}")
        limits.whole("block_length", self.block_length, 1, optional=True)
        _ = self.sampler

    @property
    def sampler(self) -> Sampler:
        rule = Fixed(self.steps) if self.threshold is None else Threshold(self.threshold)
        return Sampler(commit=rule, block_length=self.block_length)

    def plain(self) -> dict:
        """Give the values that were set, as a JSON file holds them."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        """Name the decoding as figures do.

        >>> str(Decoding(0.9)), str(Decoding(steps=10, block_length=8))
        ('threshold 0.9', '10 forwards, blocks of 8')
        """
        rule = f"{self.steps} forwards" if self.threshold is None else f"threshold {self.threshold:g}"
        return rule + (f", blocks of {self.block_length}" if self.block_length else "")


USUAL = Decoding(0.9)  # at which the course judges a model
FEWER = (  # from careful to reckless; the last ones are blind
    Decoding(0.99),
    USUAL,
    Decoding(0.8),
    Decoding(0.7),
    Decoding(0.5),
    Decoding(0.3),
    Decoding(steps=5, block_length=8),
)
