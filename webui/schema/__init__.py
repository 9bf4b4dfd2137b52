"""The words that every part of the program shares: requests, results, events, errors. Needs pydantic, never torch."""
