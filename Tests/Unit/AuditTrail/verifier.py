"""scripts/verify-audit.py as a module, for the programs here. They run with `python3 -B`, so that nothing is left beside them."""

import importlib.util


def load(path):
    spec = importlib.util.spec_from_file_location("verify_audit", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
