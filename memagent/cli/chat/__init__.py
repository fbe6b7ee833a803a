"""`memagent chat`: one module each for the command, the session, the loop and single answers."""
