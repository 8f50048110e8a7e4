import java.io.File;
import java.util.TreeMap;
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.lib.Ref;
import org.eclipse.jgit.transport.TagOpt;

/**
 * A Git client on JGit: clone, fetch or list, as the end-to-end tests ask. No shallow clones: Debian's JGit is 4.11, and
 * its clients can't ask for a depth (setDepth, setShallowSince and setUnshallow came with 6.3).
 */
final class JgitClient {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[1];
        File folder = new File(arguments[2]);
        switch (arguments[0]) {
            case "clone" -> Git.cloneRepository().setURI(url).setDirectory(folder).setBare(true).call().close();
            case "fetch" -> {
                try (Git git = Git.open(folder)) {
                    git.fetch().setRemote("origin").setTagOpt(TagOpt.FETCH_TAGS).setRemoveDeletedRefs(true).call();
                }
            }
            case "list" -> {
                TreeMap<String, String> names = new TreeMap<>();
                for (Ref ref : Git.lsRemoteRepository().setRemote(url).call()) {
                    String peeled = ref.getPeeledObjectId() == null ? "" : " " + ref.getPeeledObjectId().name();
                    names.put(ref.getName(), ref.getObjectId().name() + peeled);
                }
                names.forEach((name, ids) -> System.out.println(ids + " " + name));
            }
            default -> throw new IllegalArgumentException("unknown verb " + arguments[0]);
        }
    }
}
