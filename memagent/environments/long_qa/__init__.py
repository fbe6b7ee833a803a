"""Questions about more text than a context holds."""
