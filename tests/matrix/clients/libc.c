/* The C library's look-ups. Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read.
   usage: libc getaddrinfo|gethostbyname */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static char out[65536];

static void add(int family, const void *address) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family, address, text, sizeof text);
  if (strlen(out) + sizeof text < sizeof out) {
    strcat(out, out[0] ? "|" : "data ");
    strcat(out, text);
  }
}

static void fail(int error) {
  if (error == EAI_NONAME) strcpy(out, "nothing");
#ifdef EAI_NODATA
  else if (error == EAI_NODATA) strcpy(out, "nothing");
#endif
  else snprintf(out, sizeof out, "failure %s", gai_strerror(error));
}

static void by_getaddrinfo(const char *name, int family) {
  struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found;
  int error = getaddrinfo(name, NULL, &hints, &found);
  if (error) { fail(error); return; }
  for (struct addrinfo *one = found; one; one = one->ai_next) {
    if (one->ai_family == AF_INET) add(AF_INET, &((struct sockaddr_in *)one->ai_addr)->sin_addr);
    if (one->ai_family == AF_INET6) add(AF_INET6, &((struct sockaddr_in6 *)one->ai_addr)->sin6_addr);
  }
  freeaddrinfo(found);
}

static void by_gethostbyname(const char *name, int family) {
  struct hostent *found = gethostbyname2(name, family);
  if (found) {
    for (char **one = found->h_addr_list; *one; one++) add(family, *one);
  } else if (h_errno == HOST_NOT_FOUND) strcpy(out, "nothing");
  else if (h_errno == NO_DATA) strcpy(out, "nothing");
  else snprintf(out, sizeof out, "failure %s", hstrerror(h_errno));
}

static void by_getnameinfo(const char *address) {
  struct sockaddr_in four = {.sin_family = AF_INET};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6};
  char name[NI_MAXHOST];
  int is_four = inet_pton(AF_INET, address, &four.sin_addr) == 1;
  if (!is_four && inet_pton(AF_INET6, address, &six.sin6_addr) != 1) { strcpy(out, "notasked"); return; }
  int error = is_four
    ? getnameinfo((struct sockaddr *)&four, sizeof four, name, sizeof name, NULL, 0, NI_NAMEREQD)
    : getnameinfo((struct sockaddr *)&six, sizeof six, name, sizeof name, NULL, 0, NI_NAMEREQD);
  if (error) fail(error);
  else snprintf(out, sizeof out, "data %s", name);
}

int main(int argc, char **argv) {
  char type[32], name[512], address[128];
  int is_old = argc > 1 && !strcmp(argv[1], "gethostbyname");
  while (scanf("%31s %511s %127s", type, name, address) == 3) {
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    out[0] = 0;
    if (!strcmp(type, "A")) (is_old ? by_gethostbyname : by_getaddrinfo)(name, AF_INET);
    else if (!strcmp(type, "AAAA")) (is_old ? by_gethostbyname : by_getaddrinfo)(name, AF_INET6);
    else if (!strcmp(type, "ADDR") && !is_old) by_getaddrinfo(name, AF_UNSPEC);
    else if (!strcmp(type, "PTR") && !is_old) by_getnameinfo(address);
    else strcpy(out, "notasked");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    long ms = (ended.tv_sec - begun.tv_sec) * 1000 + (ended.tv_nsec - begun.tv_nsec) / 1000000;
    printf("%ld %s\n", ms, out);
    fflush(stdout);
  }
  return 0;
}
