/** Names of clusters and nodes: they stand in epochs, file names, URLs and labels of metrics as they are. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/

export const nameRule = '1 to 32 of A-Z a-z 0-9 . _ - and begin with a letter or digit'
