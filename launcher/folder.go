package launcher

import (
	"fmt"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
)

// folderRefresh is how often the times of the folder for error files are set to now. Programs that
// remove old files go by days. Tests shorten it.
var folderRefresh = time.Hour

// makeFolder makes the private folder for error files. Without one, the job goes on and error files
// are not read.
func (s *shared) makeFolder() {
	folder, err := errorfile.Make()
	if err != nil {
		s.cfg.Log(fmt.Sprintf("workers cannot leave error files: %v; set TMPDIR to a folder "+
			"with room", err))
		return
	}
	s.folder = folder
	s.sup.FolderMade(folder.Path())
}

// checkFolder makes a new folder if the present one is gone, as a job may run for longer than
// TMPDIR keeps files. It is called before each attempt; a worker's @record would otherwise fail,
// and hide the worker's own error.
func (s *shared) checkFolder() {
	lost := s.folder
	if lost == nil || lost.Intact() {
		return
	}
	s.cfg.Log(fmt.Sprintf("warning: the folder for error files, %s, is not there any more: "+
		"making another one; let cleaners of TMPDIR leave it alone", lost.Path()))
	lost.Remove()
	s.folder = nil
	s.makeFolder()
}

// forgetErrorFiles removes the error files of an attempt, which have been read.
func (j *job) forgetErrorFiles(attempt int) {
	if j.folder == nil {
		return
	}
	for _, w := range j.plan.Workers {
		j.folder.Forget(attempt, w.Rank)
	}
}

// touchFolder makes the folder look new.
func (s *shared) touchFolder() {
	if s.folder != nil {
		s.folder.Touch()
	}
}

// removeFolder removes the folder at the end of the job.
func (s *shared) removeFolder() {
	if s.folder != nil {
		s.folder.Remove()
	}
}
