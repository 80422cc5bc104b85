"""Access to the files of an archive: paths, object storage, CSV and report files."""
