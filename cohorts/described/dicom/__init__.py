"""An archive that is a tree of DICOM files: `files` finds them, `header` parses and `facts` reads each header, `index`
keeps all of them, `rows` tells the radiographs from everything else, `reports` finds the report of each study, and
`tree` is the source that is made of all this.
"""
