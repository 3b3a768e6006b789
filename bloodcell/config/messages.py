"""TODO config/messages.py."""

import difflib
import re

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from bloodcell.common.env import CONF


def _hydra_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MissingConfigException) or "Could not find" in text:
        found = re.search(r"Could not find '?([^'\s]+)'?", text)
        options = [line.strip() for line in text.split("\n") if line.startswith("\t")]
        if found:
            name = found[1].strip("'.")
            expected = f"one of {', '.join(options)}" if options else "a config file"
            return f"{name}: expected {expected}, got no such choice; see --help"
    if isinstance(error, ConfigCompositionException):
        found = re.search(r"Could not override '([^']+)'", text)
        if found:
            near = difflib.get_close_matches(found[1], _known_keys(), n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "see --cfg job for all keys"
            return f"{found[1]}: expected a key of the config, got an unknown one; {hint}"
    if isinstance(error, OverrideParseException):
        word = getattr(error, "override", "override")
        return f"{word}: expected KEY=VALUE, got something that cannot be parsed ({' '.join(text.split())[:90]})"
    cause = error.__cause__
    whole = f"{text} ({cause})" if cause is not None and str(cause) not in text else text
    return " ".join(whole.split())


def _known_keys() -> list[str]:
    """Every key of every file in ``conf``, dotted, to compare a mistyped one with."""
    keys = []
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parent.parts
        prefix = "" if not group or group[0] in {"experiment", "sweep"} else ".".join(group) + "."
        content = OmegaConf.to_container(OmegaConf.load(path))
        stack = [(prefix, content)]
        while stack:
            head, node = stack.pop()
            if isinstance(node, dict):
                for name, value in node.items():
                    keys.append(head + str(name))
                    stack.append((head + str(name) + ".", value))
    return sorted(set(keys))
