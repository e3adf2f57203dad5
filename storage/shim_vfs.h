/* storage/shim_vfs.h - a VFS of SQLite that passes everything on to another one.
 * Whoever wants to see or change some calls starts from it and replaces those: counting_vfs.c,
 * salvage_header.c, tests/support/fault_vfs.c. Owner: stateless. Needs: sqlite3. */
#ifndef STORAGE_SHIM_VFS_H
#define STORAGE_SHIM_VFS_H

#include <stddef.h>

#include <sqlite3.h>

/* The first member of the user's own file struct. The real file lies behind that struct, in the
 * memory that SQLite gives for both. */
struct shim_file {
	sqlite3_file base; /* first: SQLite knows us by it */
	sqlite3_file *real;
};

struct shim_vfs {
	sqlite3_vfs vfs; /* first; to register, after calls were replaced */
	sqlite3_vfs *real;
};

/* Methods that pass on. version 1: files without shared memory; 2: with. Never 3: no memory
 * mapping, so that every read and write comes by. */
sqlite3_io_methods shim_methods(int version);

/* Make *s a VFS of this name in front of real, whose files have own_size bytes in front of the real
 * ones. xOpen is shim_open_plain, for kinds of files that are of no interest. Borrows the name. */
void shim_vfs_init(struct shim_vfs *s, sqlite3_vfs *real, const char *name, size_t own_size);

/* For an xOpen: zeroes the own struct of own_size bytes at f, and opens the real file behind it.
 * Where f->real->pMethods is set behind it, whatever the result, base.pMethods must be set too:
 * SQLite then closes the file. */
int shim_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, size_t own_size, int flags,
	      int *ret_flags);
/* An xOpen that leaves the shim out. */
int shim_open_plain(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags,
		    int *ret_flags);

#endif
