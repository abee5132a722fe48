"""How many bytes of tensors live at once: what a peak of memory is made of, counted and not sampled."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Live(TorchDispatchMode):
    """Counts the bytes of storages that were made while it is open and still live, and remembers the most."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        if isinstance(out, torch.Tensor) and out.device.type == "cpu":
            storage = out.untyped_storage()
            theirs = [a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)]
            if storage not in self.known and storage.data_ptr() not in theirs:
                self.known[storage] = n = storage.nbytes()
                self.now += n
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.forget, n)
        return out

    def forget(self, n: int) -> None:
        self.now -= n
