"""The one engine under all facades: samples in, a trained skorch net out."""

import warnings

with warnings.catch_warnings():
    # Where torch-geometric is installed, skorch imports it, and that compiles scripts.
    warnings.filterwarnings("ignore", "`torch.jit.script`", DeprecationWarning)
    import skorch  # noqa: F401
