"""How worker processes start. Light: it can run before anything heavy is imported."""

import multiprocessing
from multiprocessing.context import BaseContext
from typing import Final

_PRELOADED: Final = "engine.dataplane.shard"


def context() -> BaseContext:
    """Forked from a server that has the kernels loaded, where there is fork; else spawned."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([_PRELOADED])
    return forkserver


def warm_up(*also: str) -> None:
    """Start that server now, so that it loads while we do, ``also`` with these modules; its kernels should be
    in the cache."""
    if context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload([_PRELOADED, *also])
        forkserver.ensure_running()
