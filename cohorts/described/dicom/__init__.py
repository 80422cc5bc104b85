"""A tree of DICOM files: `tree` finds the files, `header` parses and `facts` reads each header, `index` keeps all of
them, `rows` tells the radiographs from everything else, and `joining` finds the report of each study.
"""
