"""What makes a number on a data set worth less than it seems: leaks, copies, broken files, give-aways."""
