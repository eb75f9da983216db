// Uploads a file with openapi-generator's client for Java and its own HTTP client: java Upload.java FILE

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.RandomAccessFile;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import partita.ApiClient;
import partita.ApiException;
import partita.api.UploadsApi;
import partita.model.CompleteUploadRequest;
import partita.model.CreateUploadRequest;
import partita.model.PartUrlsRequest;
import partita.model.Problem;
import partita.model.Upload.StateEnum;

class Upload {
    public static void main(String[] arguments) throws Exception {
        var client = new ApiClient();
        client.updateBaseUri(System.getenv().getOrDefault("PARTITA_SERVER", "http://127.0.0.1:8080"));
        var token = System.getenv("PARTITA_TOKEN");
        if (token != null) client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
        try {
            System.out.println(upload(new UploadsApi(client), Path.of(arguments[0])));
        } catch (ApiException refusal) {
            var problem = new ObjectMapper().readValue(refusal.getResponseBody(), Problem.class);
            System.err.println(problem.getCode() + " " + problem.getDetail() + " " + problem.getMaxSize());
            System.exit(1);
        }
    }

    /** Sends the file, part by part; the upload's id. */
    static Object upload(UploadsApi uploads, Path path) throws Exception {
        var http = HttpClient.newHttpClient();
        try (var file = new RandomAccessFile(path.toFile(), "r")) {
            // [upload]
            var wanted = new CreateUploadRequest().filename(path.getFileName().toString()).size(file.length());
            var created = uploads.createUpload(wanted.partUrls(new PartUrlsRequest().count(1000L)), null);
            for (var part : created.getPartUrls()) {
                var bytes = new byte[Math.toIntExact(part.getSize())];
                file.seek(part.getOffset());
                file.readFully(bytes);
                var put = HttpRequest.newBuilder(URI.create(part.getUrl())).PUT(HttpRequest.BodyPublishers.ofByteArray(bytes));
                part.getHeaders().forEach(put::header);
                http.send(put.build(), HttpResponse.BodyHandlers.discarding());
            }
            while (uploads.completeUpload(created.getUpload().getId(), null).getState() != StateEnum.COMPLETED);
            // [/upload]
            return created.getUpload().getId();
        }
    }
}
