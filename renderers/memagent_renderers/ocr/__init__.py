"""Eyes: what reads a picture back. Import the one you need from its module; heavy parts load when it first reads."""
