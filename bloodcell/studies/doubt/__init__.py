"""Does a net notice pictures that it cannot know? Pictures that are no such cells, against cells that were held out."""
