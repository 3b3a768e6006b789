"""How long an epoch takes here and elsewhere: each row of the table is a program of its own."""
