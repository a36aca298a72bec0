"""vmqtui as other projects use it: by its public interface, from another folder."""
