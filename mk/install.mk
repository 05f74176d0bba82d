# SPDX-License-Identifier: MIT
#
# make install     command, library, header, pkg-config file and man pages under $(DESTDIR)$(PREFIX)
# make uninstall   removes exactly those

bindir = $(PREFIX)/bin
libdir = $(PREFIX)/lib
includedir = $(PREFIX)/include
mandir = $(PREFIX)/share/man
version = $(shell sed -n 's/^\#define LODGE_VERSION[[:space:]][[:space:]]*"\(.*\)".*/\1/p' include/lodge.h)

installed = $(bindir)/lodge $(libdir)/liblodge.a $(libdir)/pkgconfig/lodge.pc $(includedir)/lodge.h \
	    $(mandir)/man1/lodge.1 $(mandir)/man3/lodge.h.3

# Made anew each time: it holds PREFIX.
.PHONY: $(B)/lodge.pc
$(B)/lodge.pc:
	@mkdir -p $(@D)
	@printf '%s\n' 'Name: lodge' 'Description: runs static Linux programs in KVM address spaces' 'Version: $(version)' \
		'Cflags: -I$(includedir)' 'Libs: -L$(libdir) -llodge $(LDLIBS_LODGE) -pthread' > $@

.PHONY: install uninstall
install: all $(B)/lodge.pc
	install -D -m 755 $(B)/lodge $(DESTDIR)$(bindir)/lodge
	install -D -m 644 $(B)/liblodge.a $(DESTDIR)$(libdir)/liblodge.a
	install -D -m 644 $(B)/lodge.pc $(DESTDIR)$(libdir)/pkgconfig/lodge.pc
	install -D -m 644 include/lodge.h $(DESTDIR)$(includedir)/lodge.h
	install -D -m 644 docs/man/lodge.1 $(DESTDIR)$(mandir)/man1/lodge.1
	install -D -m 644 docs/man/lodge.h.3 $(DESTDIR)$(mandir)/man3/lodge.h.3

uninstall:
	rm -f $(addprefix $(DESTDIR),$(installed))
