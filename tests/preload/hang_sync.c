/* hang_sync.c - a disk that stops answering, for LD_PRELOAD: while the file that TIDEGATE_HANG
 * names is there, fdatasync and fsync do not return. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd);
int fsync(int fd);

static void hang(void)
{
	const char *path = getenv("TIDEGATE_HANG");
	while (path && access(path, F_OK) == 0)
		(void)usleep(10000);
}

int fdatasync(int fd)
{
	hang();
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	hang();
	return (int)syscall(SYS_fsync, fd);
}
