"""A device that is nowhere, for machines without an accelerator: tensors that say `meta` and compute on the CPU.

Whatever meets a tensor of another device raises, as it would on a GPU; only numbers without a dimension may mix, and
only copies may cross. Values are real, so code that looks at them works.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
CROSSES = ("aten._to_copy", "aten.copy_", "aten._local_scalar_dense")


class Elsewhere(torch.Tensor):
    """A tensor that lies `elsewhere`; `here` holds its values."""

    @staticmethod
    def __new__(cls, here: torch.Tensor):
        strides = here.stride()
        return torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=strides, dtype=here.dtype, device=DEVICE, requires_grad=False
        )

    def __init__(self, here: torch.Tensor):
        self.here = here

    def __deepcopy__(self, memo):
        return Elsewhere(self.here.clone())

    def tolist(self):
        return self.here.tolist()

    def __repr__(self):
        return f"Elsewhere({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})


def dispatch(func, args, kwargs):
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    away = [isinstance(x, Elsewhere) for x in tensors if x.ndim]
    name = str(func).rpartition(".")[0]
    if any(away) and not all(away) and name not in CROSSES:
        raise RuntimeError(f"{func}: tensors on two devices")
    target = kwargs.get("device")
    moved = {k: v for k, v in kwargs.items() if k != "device"} | ({"device": "cpu"} if target is not None else {})
    out = func(*unwrap(args), **unwrap(moved))
    if name == "aten.copy_" or (name.endswith("_") and not name.endswith("__")):
        return args[0]
    there = torch.device(target) == DEVICE if target is not None else any(isinstance(x, Elsewhere) for x in tensors)
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, torch.Tensor) else x, out) if there else out


def unwrap(x):
    return tree_map(lambda v: v.here if isinstance(v, Elsewhere) else v, x)


class _Constants(TorchFunctionMode):
    """`torch.tensor` makes its tensor below what a dispatch mode sees, so it is made here and moved."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **kwargs | {"device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


class Device(TorchDispatchMode):
    """While it is open, what is made on the device `meta` lies elsewhere."""

    def __init__(self):
        super().__init__()
        self.constants = _Constants()

    def __enter__(self):
        self.constants.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        return self.constants.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})


def move(model: torch.nn.Module) -> torch.nn.Module:
    """Put the weights of a model elsewhere, for reading only."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(Elsewhere(weight.detach().clone()), requires_grad=False)
    return model
