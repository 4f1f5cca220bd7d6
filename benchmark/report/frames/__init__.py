"""Result files as pandas frames, whatever state they are in."""
