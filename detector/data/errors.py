"""The error of everything that is wrong with the user's data."""


class DataError(ValueError):
    """Data that cannot be used. The message names the file and, where they exist, the ids."""
