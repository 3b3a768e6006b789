"""Look for what makes a number worth less than it seems: ``python -m bloodcell.audit [data=...] [KEY=VALUE]``."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bloodcell.common.env import CONF
from bloodcell.common.errors import InputError
from bloodcell.config.command import fail, run_command
from bloodcell.config.compose import arranged
from bloodcell.config.help import helped
from bloodcell.studies.audit.run import run_audit


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="audit")
def audit(cfg: DictConfig) -> None:
    """Audit the data of a config; fail on a leak or a broken file."""
    try:
        findings = run_audit(cfg, Path(HydraConfig.get().runtime.output_dir))
    except InputError as error:
        fail(error)  # here, for Hydra would say a line of its own
    for one in findings:
        if one.level in ("leak", "broken"):
            wanted = "no group on two sides" if one.level == "leak" else "files that can be decoded"
            fix = "split by group, or waive it with audit.allow_leak=true" if one.level == "leak" else "see the page"
            fail(InputError("audit", expected=wanted, got=one.says.removesuffix("."), fix=fix))


def main() -> None:
    """Run the command."""

    def command() -> None:
        sys.argv[1:] = arranged(sys.argv[1:])
        if not helped("audit", sys.argv[1:]):
            audit()

    run_command(command)


if __name__ == "__main__":
    main()
