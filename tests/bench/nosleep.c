/* Preloaded into partclone: its sleeps of whole seconds become hundredths, so that what is measured is work. */
#include <time.h>

unsigned int sleep(unsigned int seconds)
{
    struct timespec moment = {0, 10 * 1000 * 1000};
    if (seconds > 0)
        nanosleep(&moment, 0);
    return 0;
}
