"""Joins everything: the application, its guard and login, the public link, the start."""
