"""Many runs: where each lives, who does it."""
