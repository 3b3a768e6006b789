"""Where things are, and every environment variable that is read.

===================  =====================================================  ==========================
variable             meaning                                                default
===================  =====================================================  ==========================
``BLOODCELL_DATA``   the Kaggle set, any of its folders; only read           looked for in the cache
``BLOODCELL_PBC``    the PBC images of ``data=pbc``; only read              none
``BLOODCELL_CACHE``  what can be had again: downloads, pixels, file digests  the user's cache folder
``BLOODCELL_ALLOW``  packages of yours whose nets a config may name: `a.,b.`  none
``BLOODCELL_SWEPT``  the keys that a sweep varies; set for each job by it    set by the sweep alone
``OMP_WAIT_POLICY``  how OpenMP's threads wait for each other; recorded      as `training.sharing`
``GOMP_SPINCOUNT``   the same, for GNU's library; recorded                   as `training.sharing`
===================  =====================================================  ==========================
"""

import os
import re
from pathlib import Path

from platformdirs import user_cache_path

from bloodcell.common.errors import InputError

DATA = "BLOODCELL_DATA"
PBC = "BLOODCELL_PBC"
CACHE = "BLOODCELL_CACHE"
ALLOW = "BLOODCELL_ALLOW"
SWEPT = "BLOODCELL_SWEPT"

PACKAGE = Path(__file__).parent.parent
CHECKOUT = PACKAGE.parent  # meaningful in a checkout only; an installed wheel has neither results nor README
# A wheel carries the configs inside the package; in a checkout they stand beside it.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else CHECKOUT / "conf"
RESULTS = CHECKOUT / "results"


def path_of(typed: str | Path) -> Path:
    """Make a path of what a user typed: ``~`` is his home; where there is no such home, it is left alone."""
    return Path(os.path.expanduser(typed))  # noqa: PTH111 (Path.expanduser raises where there is none)


def cache_dir() -> Path:
    """Return the folder of what can be had again: ``BLOODCELL_CACHE``, else the user's cache folder.

    A cache that an earlier version made in ``~/.cache/bloodcell`` is kept in use on every system.

    Raises:
        InputError: If there is no home folder to find it in.
    """
    own = os.environ.get(CACHE)
    try:
        if own:
            return Path(own).expanduser().absolute()
        before = path_of("~/.cache/bloodcell")
        return before if before.is_dir() else user_cache_path("bloodcell").absolute()
    except RuntimeError as error:
        raise InputError(
            f"{CACHE}={own}" if own else "the cache folder",
            expected="a home folder to find it in",
            got="none (no HOME, and no such user in passwd)",
            fix=f"set {CACHE}=/a/folder that can be written to",
        ) from error


def allowed_packages() -> tuple[str, ...]:
    """Return the packages of ``BLOODCELL_ALLOW``, each with a dot at its end, as ``my_package.``.

    Raises:
        InputError: If one is no name of a package.
    """
    names = [name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.?", name):
            raise InputError("allow", expected="names of packages, as [my_package.]", got=name, fix="correct the name")
    return tuple(f"{name.rstrip('.')}." for name in names)


def waiting() -> dict[str, str]:
    """Return what the user has said on how OpenMP's threads wait for each other."""
    return {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
