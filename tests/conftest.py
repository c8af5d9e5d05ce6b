"""Settings that must stand before torch and scipy are imported."""

import os

# scikit-learn skips its array API check silently without the first; the others keep
# parallel test workers from fighting over cores.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
