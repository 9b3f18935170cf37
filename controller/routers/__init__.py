"""The routes of the API, by what they are about. A handler checks, calls and shows; it decides nothing."""
