// NOTE FROM THE LEAD: step 7 (dev-mode files) is being written by the lead on main. Delete this file,
// do not write it here; finish steps 1-6 and report.
