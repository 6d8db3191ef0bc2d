"""Backend ``native``: FDIWN's trunk in C++ on the CPU. The sources are in ``native/``."""
