"""What is in folders of runs and studies, read from their small files: a list of them, and what is wrong with one."""
