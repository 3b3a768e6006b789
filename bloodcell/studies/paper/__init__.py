"""The paper: what it states, what came out here, and the pages that say so."""
