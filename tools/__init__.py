"""Programs for whoever develops: they write files of this repository anew."""
