"""Tokens, sentences, dates and statements of plain text; no model."""
